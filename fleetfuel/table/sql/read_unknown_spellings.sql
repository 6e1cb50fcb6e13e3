-- Which of the given spellings the database's normalisers do not know. $1: {"fuel_type": […], "department": […]}.
select 'fuel_type' as field, spelling
from jsonb_array_elements_text($1::text::jsonb -> 'fuel_type') as spelling
where fuel.canon_fuel_type(spelling) is null
union all
select 'department' as field, spelling
from jsonb_array_elements_text($1::text::jsonb -> 'department') as spelling
where not exists (select from fuel.department_alias as a where a.canonical = fuel.canon_department(spelling))
