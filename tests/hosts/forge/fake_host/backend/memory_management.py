import torch

current_loaded_models = []


def get_torch_device():
    return torch.device("cpu")


def soft_empty_cache(force=False):
    pass


def load_models_gpu(models, memory_required=0, hard_memory_preservation=0):
    for model in models:
        if model not in current_loaded_models:
            current_loaded_models.append(model)


def load_model_gpu(model):
    return load_models_gpu([model])
