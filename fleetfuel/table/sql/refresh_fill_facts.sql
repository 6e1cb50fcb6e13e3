-- Compute stored facts of stale vehicles anew, until about so many ($1) fills are done; what was done and what is left.
select vehicles, fills, vehicles_left from fuel.refresh_fill_facts($1)
