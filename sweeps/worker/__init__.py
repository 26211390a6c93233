"""The code of the machines that train; it depends on trial folders, not on the driver."""
