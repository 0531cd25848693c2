------------------------------- MODULE Basics -------------------------------
(* What the modules of this folder share.                                   *)

CONSTANTS
  TxIds,    \* transaction ids
  NONE,     \* "there is none", a model value: it differs from everything else
  Defects   \* names of planted defects; empty in every model that must hold

(* A planted defect changes one rule, so that it can be seen that the properties would notice. *)
Flawed(defect) == defect \in Defects
=============================================================================
