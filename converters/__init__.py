"""Build time only: networks, training, quantization and conversion. The SDK never imports this package."""
