"""One report of laptop, login node and a one-minute job, fit to paste to a help desk."""
