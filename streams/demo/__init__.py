"""The story that `taprail demo` plays on a whole stack, with real clients."""
