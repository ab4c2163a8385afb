"""Reading and writing NetCDF/HDF5 at the speed of the filesystem; nothing has to be launched."""
