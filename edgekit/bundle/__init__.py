"""The bundle on disk: its paths, reading, writing, and ONNX Runtime's view of it. Standard library only."""
