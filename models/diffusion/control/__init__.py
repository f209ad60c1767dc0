"""ControlNets: from a picture to a condition image, and from that to residuals for the UNet."""
