from types import SimpleNamespace

args = SimpleNamespace(always_low_vram=False, vae_in_fp32=True, attention_split=False)
