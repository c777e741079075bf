"""The networks tzml is tested with; each folder has its training script, its ONNX file and its data."""
