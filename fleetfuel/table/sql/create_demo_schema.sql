-- The schema of the tracking application, which the demo plays.
create schema tracksolid
