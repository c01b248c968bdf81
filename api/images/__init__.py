"""Profile images: receive an upload, re-encode it, store it, serve it, and remove it when no user has it any more.

upload.py receives the multipart form, reencode_process.py runs the program in reencode/, names.py derives an image's
name from its content, storage.py reads and writes a directory or a bucket, and profile_images.py keeps storage and
database consistent.
"""
