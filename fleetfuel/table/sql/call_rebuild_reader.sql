-- Make the function that derives columns from `raw` anew, after the field names in fuel.source_field.
select fuel.rebuild_reader()::text as said
