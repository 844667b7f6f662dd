class ForgeDiffusionEngine:
    def get_learned_conditioning(self, prompt):
        pass
