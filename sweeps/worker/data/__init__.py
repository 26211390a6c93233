"""The data of trials on the machine that trains: where it is, or is copied or unpacked to."""
