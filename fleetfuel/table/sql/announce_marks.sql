-- The statements of this merge mark the vehicles they touch as stale, set by set: the triggers need not do it row by row.
select set_config('fuel.marks_plates', 'on', true)
