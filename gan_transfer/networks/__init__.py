"""Networks as functions returning flat, fully named Functional models (documents A-E).

Every layer is called `<stage>_<role>` in data order; the stage (`stem`, `block1`, ...,
`head`) is the unit of freezing and of learning rates.
"""
