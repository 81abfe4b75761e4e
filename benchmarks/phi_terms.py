"""What is counted as a clinical token in benchmarks/phi.py: eponyms, drugs, anatomy, values, and the verbs May and Will."""

import re
from collections.abc import Iterator

EPONYMS = """parkinson parkinson's lewy crohn crohn's foley hodgkin hodgkin's alzheimer alzheimer's barrett barrett's graves hashimoto hashimoto's
    addison addison's cushing cushing's bell's guillain barre babinski romberg homans murphy murphy's mcburney mcburney's kocher trendelenburg
    jackson pratt penrose steri swan ganz apgar glasgow gleason bence jones raynaud raynaud's sjogren sjogren's wegener's marfan huntington
    tourette wilson's paget paget's kaposi's ewing wilms hirschsprung meckel's peyronie's dupuytren's colles lachman mcmurray phalen tinel
    finkelstein baker's bartholin skene fallopian eustachian achilles doppler holter bovie mayo allis babcock deaver debakey balfour bookwalter
    weitlaner adson metzenbaum kelly kerlix vicryl prolene monocryl xeroform hemovac veress hasson lugol's betadine lactated ringer's dermabond
    nissen whipple billroth roux hartmann's bankart baxter lefort salter harris schatzki's mallory weiss mobitz wolff parkinson white lisfranc
    gram papanicolaou ziehl coombs waldenstrom burkitt""".split()
DRUGS = """aspirin tylenol acetaminophen ibuprofen motrin advil aleve naproxen celebrex vioxx percocet vicodin lortab norco oxycodone oxycontin morphine
    dilaudid fentanyl demerol versed propofol ketamine lidocaine xylocaine marcaine bupivacaine epinephrine norepinephrine dopamine atropine
    lisinopril enalapril captopril losartan cozaar diovan metoprolol lopressor toprol atenolol carvedilol coreg amlodipine norvasc diltiazem
    cardizem verapamil digoxin lanoxin lasix furosemide bumex hydrochlorothiazide aldactone spironolactone zocor simvastatin lipitor atorvastatin
    crestor pravastatin pravachol coumadin warfarin heparin lovenox plavix clopidogrel insulin lantus novolog humalog metformin glucophage glipizide
    glyburide actos avandia synthroid levothyroxine prednisone solu-medrol decadron dexamethasone albuterol advair flovent singulair combivent
    atrovent spiriva claritin zyrtec benadryl allegra flonase nexium prilosec omeprazole protonix prevacid zantac pepcid reglan zofran phenergan
    compazine colace senna milk magnesia miralax imodium cipro ciprofloxacin levaquin levofloxacin zithromax azithromycin amoxicillin augmentin
    ancef cefazolin ceftriaxone rocephin keflex cephalexin vancomycin gentamicin flagyl metronidazole clindamycin bactrim doxycycline penicillin
    zosyn unasyn acyclovir diflucan fluconazole zoloft sertraline prozac fluoxetine paxil celexa lexapro effexor wellbutrin trazodone ambien xanax
    ativan lorazepam klonopin valium seroquel risperdal zyprexa abilify haldol lithium depakote dilantin phenytoin keppra neurontin gabapentin
    lyrica topamax tegretol lamictal aricept namenda sinemet fosamax actonel premarin synvisc methotrexate humira enbrel remicade taxol
    cisplatin carboplatin 5-fu flomax proscar viagra cialis detrol allopurinol colchicine potassium""".split()
ANATOMY = """head neck chest abdomen pelvis back spine lumbar cervical thoracic sacral heart lung lungs liver spleen kidney kidneys pancreas stomach
    colon rectum bladder uterus ovary ovaries prostate breast thyroid brain skull eye eyes ear ears nose mouth throat tongue larynx pharynx
    trachea bronchus esophagus duodenum jejunum ileum appendix gallbladder aorta carotid femoral iliac coronary ventricle atrium mitral tricuspid
    aortic pulmonary vein artery nerve nerves tendon ligament muscle bone femur tibia fibula humerus radius ulna clavicle scapula patella hip knee
    ankle foot feet toe toes hand hands wrist finger fingers thumb elbow shoulder skin fascia peritoneum omentum diaphragm rib ribs sternum
    sinus septum turbinate mandible maxilla orbit retina cornea lens lymph node nodes marrow testis testicle scrotum penis vagina cervix urethra
    ureter adrenal pituitary cerebellum cortex medulla""".split()
GROUPS = {"eponyms": frozenset(EPONYMS), "drugs": frozenset(DRUGS), "anatomy": frozenset(ANATOMY)}
WORD = re.compile(r"[^\W\d_][^\W_]*(?:['’-][^\W_]+)*")
VALUE = re.compile(
    r"(?<![\d/.-])(?:1[3-9]|[2-9]\d|\d{3})/\d{2,3}(?![\d/-])|\b\d+(?:\.\d+)?\s?(?:mg|mcg|ml|cc|mmhg|mm|cm|kg|g|meq|units?|%|bpm|french|gauge|lbs?|pounds|degrees|hours?|minutes|weeks)\b|(?<![\d./-])\d+\.\d+(?![\d./-])",
    re.I,
)
VERB = re.compile(r"\b(?:May|Will|may|will)(?= (?:be|have|need|continue|follow|require|also|return|start|resume|take|use|help|not|see|plan|obtain|proceed)\b)")  # fmt: skip


def clinical_tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """(group, start, end) of each clinical token."""
    for match in WORD.finditer(text):
        for group, words in GROUPS.items():
            if match[0].lower() in words:
                yield group, *match.span()
    for group, pattern in (("values", VALUE), ("may and will", VERB)):
        for match in pattern.finditer(text):
            yield group, *match.span()
