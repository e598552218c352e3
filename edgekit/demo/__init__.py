"""A page in the browser that asks a bundle: ``edgekit demo``. Drawn by Gradio, which asks nobody else for anything."""
