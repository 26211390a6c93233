"""Networks that quantlab does not define: of the user, and of libraries."""
