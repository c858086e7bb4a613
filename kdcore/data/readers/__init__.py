"""Reading what a user brings: arrays, folders and zips of images, tables."""
