forge_unet_storage_dtype_options = {"Automatic": (None, False), "bnb-nf4": ("nf4", False)}
