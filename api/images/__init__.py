"""Profile images: receive an upload, re-encode it, store it, serve it, and remove it when no user has it any more.

upload.py receives the multipart form, reencode_process.py runs the program in reencode/, names.py derives an image's
name from its content, storage.py reads and writes a directory or a bucket, profile_images.py keeps storage and database
consistent, and handler.py serves the images. upload_slots.py and reencode_slots.py limit the uploads that a worker
receives and re-encodes at once, and share both fairly among users.
"""
