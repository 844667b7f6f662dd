class Upscaler:
    def upscale(self, img, scale, selected_model=None):
        return img.resize((round(img.width * scale), round(img.height * scale)))
