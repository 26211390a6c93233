"""What datasets of images have in common: normalization, image files and folders of classes."""
