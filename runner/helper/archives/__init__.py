"""Files into archives and out of them: zip, tar with zstd, gzip.

Law: what an archive holds is bounded by a window in memory, never by a file; nothing is written outside the directory
that is extracted into, and nothing at all unless the archive is whole. The standard library alone, but for zstd before
Python 3.14.
"""
