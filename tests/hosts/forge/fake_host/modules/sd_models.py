from backend import memory_management
from backend.loader import forge_loader


class SdModelData:
    sd_model = None
    forge_loading_parameters = {"checkpoint_info": "models/a.safetensors"}
    forge_hash = ""

    def get_sd_model(self):
        return self.sd_model


model_data = SdModelData()


def select(filename):
    model_data.forge_loading_parameters = {"checkpoint_info": filename}


def forge_model_reload():
    current = str(model_data.forge_loading_parameters)
    if model_data.forge_hash == current:
        return model_data.sd_model, False
    memory_management.current_loaded_models.clear()
    model_data.sd_model = forge_loader(
        model_data.forge_loading_parameters["checkpoint_info"], additional_state_dicts=[]
    )
    model_data.forge_hash = current
    return model_data.sd_model, True
