-- Let the planner know how large the stored facts are now.
analyze fuel.fill_facts, fuel.stale_plates
