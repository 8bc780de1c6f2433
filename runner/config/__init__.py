"""config.toml as frozen models: text in, text out.

Ground floor. Nothing here opens a file or asks a clock; whoever reads the file passes its text in.
"""
