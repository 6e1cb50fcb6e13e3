-- Derive the columns of the stored records again; says how many records they changed in.
select fuel.rederive()::text as said
