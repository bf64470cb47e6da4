"""Every frame of a video is cut into tiles that change places: which tile belongs where, and when does it happen?"""
