/*
   The EICAR test file and its family (antivirus.md section 8). The string stands at the start of the object, white
   space in front of it allowed; whatever follows it is allowed too, since mail systems append to texts.
   Written in hex so that this file is not itself a test file.
*/

rule eicar_plain {
    meta:
        threat = "EICAR-Test-File"
        outcome = "infected"
        evidence = "the EICAR test file; it cannot be disinfected"
    strings:
        $s = { 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43
              29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56
              49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48 2A }
    condition:
        $s at 0 or ($s in (0..64) and for all i in (0..@s[1] - 1) : (
            uint8(i) == 32 or (uint8(i) >= 9 and uint8(i) <= 13)))
}

rule eicar_corr {
    meta:
        threat = "EICAR-Test-File.corr"
        outcome = "error"
        evidence = "test file that stands for a corrupted object"
    strings:
        $s = { 43 4F 52 52 2D 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50
              5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D
              41 4E 54 49 56 49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48
              2A }
    condition:
        $s at 0 or ($s in (0..64) and for all i in (0..@s[1] - 1) : (
            uint8(i) == 32 or (uint8(i) >= 9 and uint8(i) <= 13)))
}

rule eicar_susp {
    meta:
        threat = "EICAR-Test-File.susp"
        outcome = "suspicious"
        evidence = "test file that stands for unknown malicious code"
    strings:
        $s = { 53 55 53 50 2D 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50
              5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D
              41 4E 54 49 56 49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48
              2A }
    condition:
        $s at 0 or ($s in (0..64) and for all i in (0..@s[1] - 1) : (
            uint8(i) == 32 or (uint8(i) >= 9 and uint8(i) <= 13)))
}

rule eicar_warn {
    meta:
        threat = "EICAR-Test-File.warn"
        outcome = "suspicious"
        evidence = "test file that stands for a modification of known malware"
    strings:
        $s = { 57 41 52 4E 2D 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50
              5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D
              41 4E 54 49 56 49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48
              2A }
    condition:
        $s at 0 or ($s in (0..64) and for all i in (0..@s[1] - 1) : (
            uint8(i) == 32 or (uint8(i) >= 9 and uint8(i) <= 13)))
}

rule eicar_erro {
    meta:
        threat = "EICAR-Test-File.erro"
        outcome = "error"
        evidence = "test file that stands for an error during the scan"
    strings:
        $s = { 45 52 52 4F 2D 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50
              5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D
              41 4E 54 49 56 49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48
              2A }
    condition:
        $s at 0 or ($s in (0..64) and for all i in (0..@s[1] - 1) : (
            uint8(i) == 32 or (uint8(i) >= 9 and uint8(i) <= 13)))
}

rule eicar_cure {
    meta:
        threat = "EICAR-Test-File.cure"
        outcome = "infected"
        evidence = "test file that stands for malware that can be removed"
        cure = "CURED"
    strings:
        $s = { 43 55 52 45 2D 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50
              5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D
              41 4E 54 49 56 49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48
              2A }
    condition:
        $s at 0 or ($s in (0..64) and for all i in (0..@s[1] - 1) : (
            uint8(i) == 32 or (uint8(i) >= 9 and uint8(i) <= 13)))
}

rule eicar_dele {
    meta:
        threat = "EICAR-Test-File.dele"
        outcome = "infected"
        evidence = "test file that stands for malware that is always deleted"
        delete = true
    strings:
        $s = { 44 45 4C 45 2D 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50
              5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D
              41 4E 54 49 56 49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48
              2A }
    condition:
        $s at 0 or ($s in (0..64) and for all i in (0..@s[1] - 1) : (
            uint8(i) == 32 or (uint8(i) >= 9 and uint8(i) <= 13)))
}
