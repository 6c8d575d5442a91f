"""A synthetic road world: geometry first, then both modalities from the same geometry.

``scene`` draws a world from a seed, ``ground`` and ``solids`` meet it with the rays of a pinhole
``camera``, ``render`` makes the picture, ``lidar`` the depth map.
"""
