"""What a Cortex-A53 does with instructions: rules that were measured by others, and a simulation of them."""
