"""Roads seen by camera and depth: KITTI Road, and a synthetic world in its format."""
