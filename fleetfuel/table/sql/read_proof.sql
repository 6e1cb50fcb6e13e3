-- An aggregate over the table that any load, and any edit by hand (which drops a fingerprint), alters.
select concat_ws(
    ':', count(*), count(fingerprint), count(deleted_at), count(absent_since),
    coalesce(bit_xor(uuid_hash_extended(fingerprint, id)), 0)
) as proof
from fuel.records
