/* Programs that Office runs: to their reader they look like workbooks and documents. */

rule office_addin {
    meta:
        threat = "Heuristic.Carrier.AddIn"
        outcome = "suspicious"
        evidence = "an add-in of Excel or Word: a program that Office runs as soon as it is opened"
    strings:
        $excel = "xlAutoOpen"
        $word = "wdAutoOpen"
    condition:
        uint16(0) == 0x5A4D and (object_name iendswith ".xll" or object_name iendswith ".wll" or
        (any of them and object_name != ""))
}
