current_task = None
