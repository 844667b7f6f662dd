import branch

version = "neo" if branch.NAME == "neo" else "2.0.1v1.10.1"
if branch.NAME == "neo":
    release = "2.22"
