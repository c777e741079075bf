"""MXNet: a `-symbol.json` and its `.params`, by way of ONNX."""
