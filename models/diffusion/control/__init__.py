"""ControlNets: from an image to a condition image, and from that to residuals for the UNet."""
