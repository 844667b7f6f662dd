from pathlib import Path

script_path = str(Path(__file__).resolve().parent.parent)
data_path = script_path
default_output_dir = script_path
