"""Hold a site's profile against the live site, claim by claim.

`story` asks the site and `mend` writes files; everything else is pure.
"""
