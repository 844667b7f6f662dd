from PIL import ImageFont


def get_font(fontsize):
    return ImageFont.load_default()
