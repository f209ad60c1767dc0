"""ControlNets: preprocessors that make condition images, and ControlNets that make residuals for the UNet."""
