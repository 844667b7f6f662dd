"""Model files behind symbolic links: what the list shows is what loads."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


@pytest.fixture
def elsewhere(models_folder):
    folder = models_folder / "elsewhere"
    folder.mkdir()
    return folder


def test_a_link_to_a_file_and_one_to_a_folder_are_files_of_the_list(models_folder, elsewhere):
    from wattbench.hosts.comfyui.quantized import model_files, path_of

    folder = models_folder / "diffusion_models"
    for name in ("a.safetensors", "b.gguf"):
        (elsewhere / name).touch()
        (folder / name).symlink_to(elsewhere / name)
    (folder / "linked").symlink_to(elsewhere, target_is_directory=True)
    names = ("a.safetensors", "b.gguf", "linked/a.safetensors", "linked/b.gguf")
    for choice in (f"diffusion_models/{name}" for name in names):
        assert choice in model_files()
        assert path_of(choice) == str(models_folder / choice)


@pytest.mark.parametrize("name", ["../elsewhere/a.safetensors", "linked/../../elsewhere/a"])
def test_a_name_does_not_go_up(name, models_folder, elsewhere):
    from wattbench.hosts.comfyui.quantized import path_of

    (elsewhere / "a.safetensors").touch()
    (elsewhere / "a").touch()
    folder = models_folder / "diffusion_models"
    (folder / "linked").symlink_to(elsewhere, target_is_directory=True)
    for choice in (name, str(elsewhere / "a")):
        with pytest.raises(FileNotFoundError, match="names no file of the list"):
            path_of(f"diffusion_models/{choice}")
