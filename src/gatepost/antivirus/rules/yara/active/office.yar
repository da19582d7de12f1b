/*
   What Office documents reach out with but macros: fields, relationships to the outside, objects in RTF. The openers
   show fields and links as `text/x-office-field` (one instruction a line), relationships as
   `text/x-office-relationship` (`kind target`), RTF objects as `text/x-rtf-object` (`class NAME` …).
*/

rule office_dde {
    meta:
        threat = "Heuristic.Office.Dde"
        outcome = "suspicious"
        evidence = "a field or link that asks another program for data (DDE) when the document is opened"
    strings:
        $dde = /(^|[^a-z])dde(auto)?\s/i
        $formula = /(^|\n)[=+@-][^\n|]{1,100}\|[^\n]{1,400}![^\n]/
    condition:
        object_type == "text/x-office-field" and any of them
}

rule office_dde_command {
    meta:
        threat = "Heuristic.Office.DdeCommand"
        outcome = "infected"
        evidence = "a field or link that starts a command interpreter (DDE)"
    strings:
        $command = /(^|[^a-z])dde(auto)?[^\n]{0,400}\b(cmd(\.exe)?|powershell|mshta|wscript|cscript|rundll32|regsvr32|certutil|msiexec|bitsadmin)\b/i
        $formula = /(^|\n)[=+@-][^\n|]{0,80}\b(cmd(\.exe)?|powershell|mshta|wscript|cscript|rundll32|regsvr32|certutil|msiexec|bitsadmin)'?\|[^\n]{1,400}!/i
    condition:
        object_type == "text/x-office-field" and any of them
}

rule office_remote_field {
    meta:
        threat = "Heuristic.Office.RemoteField"
        outcome = "suspicious"
        evidence = "a field that takes in text from another host when the document is opened"
    strings:
        $web = /\b(includetext|import|rd|link)\s[^\n]{0,60}(https?:|ftp:|mhtml:|\\\\\d)/i
        $share = /\b(includepicture)\s+"?(\\\\){1,2}\d{1,3}\.\d/i
    condition:
        object_type == "text/x-office-field" and any of them
}

rule office_remote_template {
    meta:
        threat = "Heuristic.Office.RemoteTemplate"
        outcome = "suspicious"
        evidence = "the document fetches its template from another host when it is opened: macros can come with it"
    strings:
        $web = /(^|\n)attachedtemplate\s+(https?:|ftp:|mhtml:)/i
        $share = /(^|\n)attachedtemplate\s+(file:\/*)?[\\\/]{2,5}(\d{1,3}\.\d{1,3}\.\d|[^\\\/\s]{1,100}@(ssl|80|443|8080))/i
    condition:
        object_type == "text/x-office-relationship" and any of them
}

rule office_remote_object {
    meta:
        threat = "Heuristic.Office.RemoteObject"
        outcome = "suspicious"
        evidence = "the document fetches an object from another host when it is opened"
    strings:
        $web = /(^|\n)(oleobject|frame|subdocument|package|externaloleobject|control|aFChunk|customui|extensibility|mailMergeSource|webquery|object|object-ole|plugin|applet|floating-frame|section-source)\s+(https?:|ftp:|mhtml:|x-usc:)/i
        $share = /(^|\n)[\w-]+\s+(file:\/*)?[\\\/]{2,5}(\d{1,3}\.\d{1,3}\.\d|[^\\\/\s]{1,100}@(ssl|80|443|8080))/i
        $program = /(^|\n)\w+\s+(cmd|powershell|pwsh|mshta|wscript|cscript|rundll32|regsvr32|certutil)(\.exe)?([\s%]|$)/i
        $protocol = /(^|\n)\w+\s+(mhtml:|ms-msdt:|search-ms:|script:|javascript:|vbscript:|ms-officecmd:)/i
    condition:
        object_type == "text/x-office-relationship" and any of them
}

rule rtf_equation_object {
    meta:
        threat = "Heuristic.Exploit.Equation"
        outcome = "suspicious"
        evidence = "an RTF text with an Equation Editor object, which no program has made for years but exploits"
    strings:
        $class = /(^|\n)class [^\n]{0,20}equation\.[0-9]/i
    condition:
        object_type == "text/x-rtf-object" and $class
}

rule rtf_updated_object {
    meta:
        threat = "Heuristic.Office.UpdatedObject"
        outcome = "suspicious"
        evidence = "an RTF text with a linked object that is fetched anew when it is opened"
    strings:
        $class = /(^|\n)class (ole2link|htmlfile|package|script)/i
        $updated = "updated when the document is opened"
        $web = /(^|\n)(topic|item) (https?:|ftp:|mhtml:|script:|\\\\)/i
    condition:
        object_type == "text/x-rtf-object" and ($class and $updated or $web)
}
