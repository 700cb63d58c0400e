"""Who is it: access tokens of the company's identity provider, and the keys that prove them."""
