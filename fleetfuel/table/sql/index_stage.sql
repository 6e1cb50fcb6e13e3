-- Let the planner know what was staged: an unanalysed temporary table is taken for a thousand rows.
analyze fuel_stage (id, action)
