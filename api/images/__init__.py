"""Images of profiles and in messages: receive an upload, re-encode it, store it, serve it, and remove it when unused.

upload.py receives the multipart form, reencode_process.py runs the program in reencode/, kinds.py has the differences
between the two kinds, names.py names images, storage.py reads and writes a directory or a bucket, image_store.py keeps
storage and database consistent, and handler.py serves the images. upload_slots.py and reencode_slots.py limit the
uploads that are received and re-encoded at once, and share both fairly among users; shared_slots.py shares the latter
among workers, and reencode_capacity.py determines their number.
"""
