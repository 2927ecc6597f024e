"""ModSecurity 2 in Apache and 3 in nginx: rules as suspects, and what switches them for one request."""
